"""Rounds 巡检: a route 路线 is a list of stops 巡检点 (a machine's tag, or a tag on an area's point) with what is to be done at each; a
round is one walk of it within a window 时段 of a shift 班次.

The server's own device plans each round ahead, so that phones hold it before they lose the network; whoever the roster 排班表 names for
that shift has it among their tasks. A visit is a fact and is never refused: too far from the stop, out of order or late, it is flagged
and kept with both clocks. What is missed at the window's end 漏检 is seen by supervisors and chased until it is walked or waived.
"""
