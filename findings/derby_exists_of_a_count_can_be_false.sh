#!/usr/bin/env bash
# Apache Derby 10.14.2.0 (Debian; needs java). EXISTS over SELECT COUNT(*) is false where nothing is counted, though a query with an aggregate and
# no GROUP BY always gives a row: Derby leaves out what is selected, and the aggregate with it. ISO/IEC 9075-2, 8.10: true if there is a row.
# Guess: all four rows, as in PostgreSQL, SQLite, H2 and HSQLDB. Seen: none, and only the row that u refers to.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# The lists of the packages are renewed where the package is not in them.
apt-get download -qq libderby-java=10.14.2.0-2 2>log || { apt-get update -qq && apt-get download -qq libderby-java=10.14.2.0-2 2>log; }
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
        statement.execute("CREATE TABLE u (a INT)");
        statement.execute("INSERT INTO t VALUES 1, 2, 3, 4");
        statement.execute("INSERT INTO u VALUES 1, 1");
        same("SELECT COUNT(*) FROM u WHERE u.a = 99", "0");
        same("SELECT a FROM t WHERE EXISTS (SELECT COUNT(*) FROM u WHERE u.a = 99)", "");
        same("SELECT a FROM t WHERE EXISTS (SELECT COUNT(*) FROM u WHERE u.a = t.a)", "1");
        same("SELECT a FROM t WHERE (SELECT COUNT(*) FROM u WHERE u.a = t.a) >= 0 ORDER BY a", "1 2 3 4");
        System.out.println("Derby 10.14.2.0: EXISTS (SELECT COUNT(*) ...) holds for 1 of 4 rows");
    }
}
JAVA
java -Dderby.stream.error.file=derby.log -cp usr/share/java/derby.jar Run.java "jdbc:derby:memory:x;create=true"
