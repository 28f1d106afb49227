#!/usr/bin/env bash
# HSQLDB 2.7.1 (Debian; needs java). A quotient of decimals has the scale of the first operand and is cut off: 1 / 3.0 is 0, 2.0 / 3 is 0.6.
# LIKE fills up with blanks as = does: 'Ann' LIKE 'Ann ' holds. ISO/IEC 9075-2, 6.29 leaves the scale to the engine;
# 8.5 counts characters, so that four do not match three. Guess: 0.33 or so, 0.67 or so, false. Seen: 0, 0.6, true.
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
        statement.execute("CREATE TABLE t (s VARCHAR(9))");
        statement.execute("INSERT INTO t VALUES 'Ann'");
        same("SELECT 1 / 3.0, 2.0 / 3, 1.00 / 3 FROM t", "0 0.6 0.33");
        same("SELECT s FROM t WHERE s LIKE 'Ann '", "Ann");
        same("SELECT s FROM t WHERE s LIKE 'Anne'", "");
        System.out.println("HSQLDB 2.7.1: 1 / 3.0 = 0, 2.0 / 3 = 0.6");
    }
}
JAVA
java -cp usr/share/java/hsqldb.jar Run.java "jdbc:hsqldb:mem:x;user=SA"
