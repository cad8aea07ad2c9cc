"""Known ratios, timed: can figures from here be trusted?"""
