"""A journal of orders on disk: what was about to be sent, and what became of it. It outlives the process.

`files` owns the paths, `database` the file's meaning, `writer` the thread; `journal` is what the event loop sees
of them, `orders` carries an order past it, `recovery` reads it after a crash.
"""
