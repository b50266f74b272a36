"""Fine-tune a regressor and predict a distribution: means, and an interval around each of them.

    python examples/regress.py

Takes about half a minute on two CPU cores.
"""

import numpy as np
from sklearn.datasets import make_friedman2
from sklearn.model_selection import train_test_split

from finetune_tabpfn import FinetunedTabPFNRegressor

X, y = make_friedman2(n_samples=1500, noise=50.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=1000, random_state=0)

tuned = FinetunedTabPFNRegressor(base_model="mini", time_limit=15, random_state=0)
tuned.fit(X_train, y_train)
base = FinetunedTabPFNRegressor(base_model="mini", max_steps=0, random_state=0)
base.fit(X_train, y_train)

for name, model in [("base", base), ("fine-tuned", tuned)]:
    error = np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2))
    low, high = model.predict(X_test, output_type="quantiles", quantiles=[0.05, 0.95])
    inside = np.mean((low <= y_test) & (y_test <= high))
    print(f"{name:>10}: RMSE {error:.1f}, 90 % intervals hold {inside:.0%} of the test rows")
