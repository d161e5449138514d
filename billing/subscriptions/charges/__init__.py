"""What is charged: fees, coupons, proration, overage and minimum, and the invoice that says so."""
