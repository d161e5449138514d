"""Signing up, signing in, the profile and its security: pages, forms and how allauth acts here."""
