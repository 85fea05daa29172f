"""What `backtest` does with a site of its own, and how it shows what was found."""
