"""Agreement of balances: what NHS bodies confirm to each other at M9 and M12."""
