"""Filters that put plans into words."""

from django import template

from portal.plans import history, wording

register = template.Library()

register.filter(wording.fee_text)
register.filter(wording.per_text)
register.filter(wording.a_month_text)
register.filter(wording.minimum_text)
register.filter(wording.trial_text)
register.filter(wording.price_text)
register.filter("seats", wording.seats_text)
register.filter("features", wording.list_features)
register.filter(history.change_title)
register.filter(history.change_detail)
