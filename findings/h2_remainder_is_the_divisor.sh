#!/usr/bin/env bash
# H2 2.1.214 (Debian; needs java). MOD has the type of its divisor: MOD(7.5, 2) rounds 1.5 up to 2, a remainder as large as the divisor, where
# MOD(7.5, 2.0) is 1.5. SUBSTRING counts a start of 0 as 1 and a negative one from the end. ISO/IEC 9075-2, 6.29: a remainder is less
# than the divisor; 6.32: what lies before the first character takes its share of the length. Guess: 1.5, 'h', ''. Seen: 2, 'he', 'lo'.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# The lists of the packages are renewed where the package is not in them.
apt-get download -qq libh2-java=2.1.214-1 2>log || { apt-get update -qq && apt-get download -qq libh2-java=2.1.214-1 2>log; }
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
        same("SELECT MOD(7.5, 2), MOD(7.5, 2.0)", "2 1.5");
        same("SELECT SUBSTRING('hello' FROM 0 FOR 2), SUBSTRING('hello' FROM -2 FOR 2)", "he lo");
        System.out.println("H2 2.1.214: MOD(7.5, 2) = 2");
    }
}
JAVA
java -cp usr/share/java/h2.jar Run.java "jdbc:h2:mem:x"
