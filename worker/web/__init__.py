"""The pages: the portal of coordinators, and the console of operators. `phin-connectwise web` serves them."""
