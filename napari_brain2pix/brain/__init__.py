"""What is on the canvas: layers, views, picking, painting."""
