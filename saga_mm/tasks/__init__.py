"""Detection, segmentation and enhancement: one folder a task."""
