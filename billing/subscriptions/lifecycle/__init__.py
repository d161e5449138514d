"""What people do to subscriptions: subscribe, change, pause, cancel, end, and what goes back then."""
