"""Hazards 隐患: reported 报告, assigned 派发, rectified 整改, reviewed 复核, closed 关闭;
also by a passer-by 路人 who has a tag and no account.

Obeys: Work Safety Law 安全生产法 arts. 41 (hazards are found, rectified and recorded) and 59 (whoever works there reports at once).
"""
