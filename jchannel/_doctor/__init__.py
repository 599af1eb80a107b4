"""``python -m jchannel doctor``: says why no page connects, and what the machine, the kernel and the browser can do.

``findings`` has the causes and what is found. ``machine``, ``kernel``, ``server`` and ``notebook`` look for it, each in
its place, and ``browser`` lets a page look (``page/``, whose script is built of ``jsclient/src/doctor``). The command
line is ``command``. Nothing else of the package imports it.
"""
