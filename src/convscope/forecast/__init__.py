"""Forecast time series with causal, dilated convolutions whose look-back is known."""
