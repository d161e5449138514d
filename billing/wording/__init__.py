"""How figures and times are put into words and files, the same everywhere. A ground room: it knows no other."""
