"""Packs, payments, cards, automatic top-up, invoices and statements: pages, forms and their reading."""
