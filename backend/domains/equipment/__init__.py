"""Equipment 设备: machines 机械, their tags 标签, checklists 检查表 and pre-shift checks 班前检查.

A tag is a QR code stuck on a machine, with a code that nobody guesses and that can be typed when it is dirty. A check that passed gives
authority to operate 操作授权 until the shift ends; a failed critical item 关键项 takes it away until a competent person clears it.

Obeys: Special Equipment Safety Law 特种设备安全法 arts. 14, 39, 40 (checks before use, papers in date); SAWS Order 91 工贸企业… arts. 28,
30 (molten metal lifting).
"""
