"""Makes the demo: a year of Lumen AI and its customers, through the real services. Nothing here writes a row that a
service writes, and nothing else imports it but the command that seeds and the tests."""
