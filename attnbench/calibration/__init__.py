"""How the proxies of ``--accuracy`` rank networks whose ImageNet accuracy is published."""
