#!/usr/bin/env bash
# HSQLDB 2.7.1 (Debian; needs java). LIMIT 0 gives all rows: its guide says that a zero limit is no limit, unless the database speaks MySQL's or
# PostgreSQL's SQL; there, and everywhere else, it is no row. MEDIAN of 1, 2, 3, 4 is 2 and AVG of 1, 2 is 1.
# Guess: no row; 2.5; 1 (as Derby). Seen: four rows; 2; 1.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# The lists of the packages are renewed where the package is not in them.
apt-get download -qq libhsqldb-java=2.7.1-1+deb12u1 2>log || { apt-get update -qq && apt-get download -qq libhsqldb-java=2.7.1-1+deb12u1 2>log; }
for package in *.deb; do dpkg-deb -x "$package" .; done
cat >Run.java <<"JAVA"
import java.sql.*;

class Run {
    static Statement statement;

    static String rows(String query) throws SQLException {
        StringBuilder found = new StringBuilder();
        try (ResultSet result = statement.executeQuery(query)) {
            while (result.next())
                for (int column = 1; column <= result.getMetaData().getColumnCount(); column++)
                    found.append(result.getString(column)).append(" ");
        }
        return found.toString().trim();
    }

    static void same(String query, String expected) throws SQLException {
        if (!rows(query).equals(expected)) throw new AssertionError(query + ": " + rows(query));
    }

    public static void main(String[] arguments) throws SQLException {
        statement = DriverManager.getConnection(arguments[0]).createStatement();
        statement.execute("CREATE TABLE t (a INT)");
        statement.execute("INSERT INTO t VALUES 1, 2, 3, 4");
        same("SELECT a FROM t ORDER BY a LIMIT 0", "1 2 3 4");
        same("SELECT a FROM t ORDER BY a LIMIT 1", "1");
        same("SELECT MEDIAN(a), AVG(a) FROM t", "2 2");
        same("SELECT AVG(a) FROM t WHERE a < 3", "1");
        statement.execute("SET DATABASE SQL SYNTAX PGS TRUE");
        same("SELECT a FROM t ORDER BY a LIMIT 0", "");
        System.out.println("HSQLDB 2.7.1: LIMIT 0 gives 4 of 4 rows");
    }
}
JAVA
java -cp usr/share/java/hsqldb.jar Run.java "jdbc:hsqldb:mem:x;user=SA"
