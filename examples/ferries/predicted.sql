SELECT name FROM island
WHERE id IN (SELECT island_id FROM trip WHERE ferry_id = (SELECT id FROM ferry WHERE name = 'Bore'));

SELECT f.name, SUM(t.passengers) FROM ferry AS f JOIN trip AS t ON t.ferry_id = f.id GROUP BY f.name;

SELECT 3;

SELECT name FROM ferry WHERE seats = (SELECT MAX(seats) FROM ferry);
