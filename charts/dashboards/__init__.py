"""The Grafana boards, as code.

Their JSON in charts/fedcore/files/dashboards is what the chart ships; ``make dashboards`` writes it. The code lies beside the chart, not
in it: the chart is what people install, this is what makes a part of it. Metric names come from the catalogues of those who export them,
so a metric that is renamed there cannot keep its old name here.
"""
