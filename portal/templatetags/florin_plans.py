"""Filters that put plans into words."""

from django import template

from portal import features, plan_changes

register = template.Library()

register.filter(features.fee_text)
register.filter(features.per_text)
register.filter(features.a_month_text)
register.filter(features.minimum_text)
register.filter(features.trial_text)
register.filter(features.price_text)
register.filter("seats", features.seats_text)
register.filter("features", features.list_features)
register.filter(plan_changes.change_title)
register.filter(plan_changes.change_detail)
