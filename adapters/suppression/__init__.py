"""The suppression lists: kept in the database, looked up in a file that all processes map.

`store` changes them, `image` is the file, `index` is what a process has in memory, `importing`
reads a whole list.
"""
