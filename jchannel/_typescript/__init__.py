"""``python -m jchannel types``: writes TypeScript from the annotations of a handler's class.

``loading`` imports the class, ``annotations`` translates a type as its values travel, ``interface`` writes the
declarations, and ``command`` is the command line. Nothing else of the package imports it.
"""
