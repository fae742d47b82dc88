"""A sample to see the product work on: two generated deliveries and a CRM, and the main job run over them."""
