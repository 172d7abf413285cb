"""Integrations 对接: tables that come in from Excel and CSV files 导入, and go out as such 导出.

A table 数据表 (`tables/*.yaml`) says what its columns are called in both languages and which field of which kind each one fills. What is
in a file is first compared with what stands, and shown with an error 错误 for each bad cell 单元格; once somebody confirms, all of it is
said as ops of the server's own device in the name of who imported it, in one transaction. The key column 关键列 tells which row is which
document, so the same file taken in twice changes nothing.
"""
