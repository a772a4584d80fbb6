"""What the present month will come to, and how well that was foretold before."""
