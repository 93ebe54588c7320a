"""The benchmarks: ALFWorld on the unmodified TextWorld engine, WebShop on an engine of our own."""
