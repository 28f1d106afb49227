-- Which islands does the ferry Bore call at?
SELECT DISTINCT i.name
FROM island AS i JOIN trip AS t ON t.island_id = i.id JOIN ferry AS f ON f.id = t.ferry_id
WHERE f.name = 'Bore';

-- How many passengers did each ferry carry in 2024?
SELECT f.name, SUM(t.passengers)
FROM ferry AS f JOIN trip AS t ON t.ferry_id = f.id
WHERE t.day LIKE '2024-%'
GROUP BY f.name;

-- How many ferries are there?
SELECT COUNT(*) FROM ferry;

-- Which ferry has the most seats?
SELECT name FROM ferry ORDER BY seats DESC LIMIT 1;
