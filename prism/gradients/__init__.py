"""The prober: exact gradient norms of every projection matrix for every trajectory, no weight gradient kept."""
