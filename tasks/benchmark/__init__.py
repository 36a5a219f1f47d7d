"""Speed and size of models: throughput, latency, memory, parameters, multiply-adds."""
