-- A small database, made up for `finer-rewards demo`.
CREATE TABLE island (id INTEGER PRIMARY KEY, name TEXT NOT NULL, people INTEGER);
CREATE TABLE ferry (id INTEGER PRIMARY KEY, name TEXT NOT NULL, seats INTEGER NOT NULL, built INTEGER);
CREATE TABLE trip (
  id INTEGER PRIMARY KEY,
  ferry_id INTEGER NOT NULL REFERENCES ferry (id),
  island_id INTEGER NOT NULL REFERENCES island (id),
  day TEXT NOT NULL,
  passengers INTEGER NOT NULL
);
INSERT INTO island VALUES
  (1, 'Arholm', 240), (2, 'Bredvik', 85), (3, 'Calsund', 1310), (4, 'Dunby', NULL), (5, 'Ersta', 85);
INSERT INTO ferry VALUES (1, 'Alba', 120, 1994), (2, 'Bore', 300, 2011), (3, 'Cecilia', 80, 1978);
INSERT INTO trip VALUES
  (1, 1, 1, '2024-06-01', 96), (2, 1, 2, '2024-06-01', 41), (3, 2, 3, '2024-06-01', 280),
  (4, 2, 3, '2024-06-02', 265), (5, 3, 2, '2024-06-02', 33), (6, 1, 5, '2024-06-03', 18),
  (7, 2, 1, '2024-06-03', 187), (8, 3, 2, '2024-06-03', 12), (9, 1, 1, '2023-06-01', 77);
