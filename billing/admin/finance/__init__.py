"""Staff pages of the finance room: the finance report and the figures of the business."""
