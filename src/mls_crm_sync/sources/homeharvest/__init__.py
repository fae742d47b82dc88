"""realtor.com's public website, read by the HomeHarvest library in a process of its own.

    fields.py    a home, or a row of a HomeHarvest CSV, as a record in RESO names
    answers.py   what the site answers, judged
    relay.py     the endpoint that the library is given
    process.py   its process
    child.py     the program of that process
    source.py    what is read, how it is known that it is all, and the `KIND`

A public website is no licensed feed: the source is off until the operator has acknowledged that, asks slowly, and is
stopped by the first refusal. Nothing here evades a block.
"""
