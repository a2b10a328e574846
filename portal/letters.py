def register(house): pass
