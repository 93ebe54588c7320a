"""WebShop: an online store that reads the original files and behaves as the original code does.

Source of the behaviour: Yao et al., WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents,
NeurIPS 2022, and its published code at commit 64fa2a5. No Java, no web server: pages are rendered as the text an agent
reads, and the search ranks as the original's Lucene index ranks.

=============  =========================================================================
`products`     the original product, attribute and instruction files, read and checked
`goals`        instructions with what they ask for; the fixed split
`rewards`      what a purchase is worth, with its components
`analysis`     text to search terms, as Lucene's English analyzer
`search`       BM25 over a memory-mapped index
`store`        a catalog compiled to disk, opened in no time by many processes
`pages`        what the agent reads and can click
`session`      one shopper's way through the pages
`environment`  the store behind the interface that all benchmarks share
`generator`    the embedded catalog, for runs without the published one
`shopper`      an expert that sees only what an agent sees
`conformance`  plays recorded cases of the original
=============  =========================================================================
"""
