"""The programs, each started by `python -m services.<name>`. They never import each other."""
