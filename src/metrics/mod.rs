//! What is measured: counters and histograms that cost the data plane one relaxed addition, and
//! how they are written for Prometheus.
