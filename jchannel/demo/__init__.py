"""``python -m jchannel demo``: Python reads a CSV file, a page draws it and asks Python for values while drawing.

``show`` tells the story. ``csv_file`` reads, ``table`` and ``ticks`` compute, ``handlers`` and ``page/`` are the two
sides of the channels, ``stand_in`` takes the page's place where there is no browser, ``latency`` measures, ``chromium``
and ``devtools`` run a headless browser, ``surroundings`` finds out what the machine offers, and ``report`` prints.
"""
