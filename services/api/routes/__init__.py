"""One file for each kind of resource; a route reads, asks and answers, and decides nothing."""
