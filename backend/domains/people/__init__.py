"""People 人员: the areas 区域 of the plant, its workers and contractors 承包商, and the roles 角色 that each holds where.

A role brings capabilities 权限 (`roles.yaml`), in an area with all that lies in it, or in the whole plant 全厂. An account 账号 lets one
person sign in; it is not part of the person's document, because a password is nobody else's to hold.
"""
