"""Published measures as plain functions of rows, times and texts: no database, no samples, no rewards."""
