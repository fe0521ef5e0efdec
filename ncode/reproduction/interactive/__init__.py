"""Live figures: a trained model's weights travel into the page, and a few small scripts run them there.

A notebook makes a :class:`~ncode.reproduction.interactive.figure.LiveFigure` of a kind, its data and a still picture.
The scripts (``*.js``) need no server, no request and no library; the still picture stands where no script runs.
"""
