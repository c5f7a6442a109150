"""Processes beside the window, and what they answer: jobs, the live decoder, scores, exports, simulations."""
