"""Benchmarks and candidates as people have them on disk."""
