"""The public pages, where people browse and rate films. They talk to the APIs by HTTP alone."""
