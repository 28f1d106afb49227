"""Benchmarks and candidates as people have them on disk, and rows for trainers made of them."""
