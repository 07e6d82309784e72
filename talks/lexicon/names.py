"""Names of people and cities, days and months."""

from talks.lexicon.words import Name

NAMES: tuple[Name, ...] = (
    Name("Anna", "安娜"), Name("Thomas", "托马斯"), Name("Maria", "玛丽亚"), Name("Peter", "彼得"),
    Name("Lisa", "丽莎"), Name("David", "大卫"), Name("Laura", "劳拉"), Name("Daniel", "丹尼尔"),
    Name("Julia", "朱莉娅"), Name("Martin", "马丁"), Name("Sarah", "莎拉"), Name("Michael", "迈克尔"),
)  # fmt: skip

SURNAMES: tuple[Name, ...] = (
    Name("Miller", "米勒"), Name("Weber", "韦伯"), Name("Fischer", "费舍尔"), Name("Brown", "布朗"),
    Name("Klein", "克莱因"), Name("Wilson", "威尔逊"),
)  # fmt: skip

CITIES: tuple[tuple[str, str, str], ...] = (
    ("Berlin", "Berlin", "柏林"), ("Vienna", "Wien", "维也纳"), ("Paris", "Paris", "巴黎"),
    ("London", "London", "伦敦"), ("Munich", "München", "慕尼黑"), ("Shanghai", "Shanghai", "上海"),
    ("Zurich", "Zürich", "苏黎世"), ("Rome", "Rom", "罗马"), ("Tokyo", "Tokio", "东京"),
    ("Hamburg", "Hamburg", "汉堡"), ("Geneva", "Genf", "日内瓦"), ("Beijing", "Peking", "北京"),
)  # fmt: skip

WEEKDAYS: tuple[tuple[str, str, str], ...] = (
    ("Monday", "Montag", "星期一"), ("Tuesday", "Dienstag", "星期二"), ("Wednesday", "Mittwoch", "星期三"),
    ("Thursday", "Donnerstag", "星期四"), ("Friday", "Freitag", "星期五"), ("Saturday", "Samstag", "星期六"),
    ("Sunday", "Sonntag", "星期天"),
)  # fmt: skip

MONTHS: tuple[tuple[str, str, str], ...] = (
    ("January", "Januar", "一月"), ("February", "Februar", "二月"), ("March", "März", "三月"),
    ("April", "April", "四月"), ("May", "Mai", "五月"), ("June", "Juni", "六月"),
    ("July", "Juli", "七月"), ("August", "August", "八月"), ("September", "September", "九月"),
    ("October", "Oktober", "十月"), ("November", "November", "十一月"), ("December", "Dezember", "十二月"),
)  # fmt: skip
